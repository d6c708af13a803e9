"""Countries as people write them in Salesforce, and their ISO 3166 codes. Pure.

From datasets/country-codes (commit caa72d1, 2026-05-15, PDDL): CLDR and English short names, with a few everyday ones.
"""

from __future__ import annotations

_NAMES = """
AD Andorra; AE United Arab Emirates / UAE; AF Afghanistan; AG Antigua & Barbuda / Antigua and Barbuda; AI Anguilla;
AL Albania; AM Armenia; AO Angola; AQ Antarctica; AR Argentina; AS American Samoa; AT Austria; AU Australia; AW
Aruba; AX Åland Islands; AZ Azerbaijan; BA Bosnia / Bosnia and Herzegovina; BB Barbados; BD Bangladesh; BE Belgium;
BF Burkina Faso; BG Bulgaria; BH Bahrain; BI Burundi; BJ Benin; BL St. Barthélemy / Saint Barthélemy; BM Bermuda; BN
Brunei / Brunei Darussalam; BO Bolivia; BQ Caribbean Netherlands; BR Brazil; BS Bahamas; BT Bhutan; BV Bouvet
Island; BW Botswana; BY Belarus; BZ Belize; CA Canada; CC Cocos Islands / Cocos; CD Congo - Kinshasa; CF Central
African Republic; CG Congo - Brazzaville / Congo; CH Switzerland; CI Côte d’Ivoire / Ivory Coast; CK Cook Islands;
CL Chile; CM Cameroon; CN China; CO Colombia; CR Costa Rica; CU Cuba; CV Cape Verde / Cabo Verde; CW Curaçao; CX
Christmas Island; CY Cyprus; CZ Czechia / Czech Republic; DE Germany; DJ Djibouti; DK Denmark; DM Dominica; DO
Dominican Republic; DZ Algeria; EC Ecuador; EE Estonia; EG Egypt; EH Western Sahara; ER Eritrea; ES Spain; ET
Ethiopia; FI Finland; FJ Fiji; FK Falkland Islands; FM Micronesia; FO Faroe Islands; FR France; GA Gabon; GB UK /
United Kingdom / Great Britain / England / Scotland / Wales / Northern Ireland; GD Grenada; GE Georgia; GF French
Guiana; GG Guernsey; GH Ghana; GI Gibraltar; GL Greenland; GM Gambia; GN Guinea; GP Guadeloupe; GQ Equatorial
Guinea; GR Greece; GS South Georgia & South Sandwich Islands; GT Guatemala; GU Guam; GW Guinea-Bissau; GY Guyana; HK
Hong Kong; HM Heard & McDonald Islands; HN Honduras; HR Croatia; HT Haiti; HU Hungary; ID Indonesia; IE Ireland /
EIRE; IL Israel; IM Isle of Man; IN India; IO British Indian Ocean Territory; IQ Iraq; IR Iran; IS Iceland; IT
Italy; JE Jersey; JM Jamaica; JO Jordan; JP Japan; KE Kenya; KG Kyrgyzstan; KH Cambodia; KI Kiribati; KM Comoros; KN
St. Kitts & Nevis / Saint Kitts and Nevis; KP North Korea; KR South Korea / Republic of Korea / Korea; KW Kuwait; KY
Cayman Islands; KZ Kazakhstan; LA Laos; LB Lebanon; LC St. Lucia / Saint Lucia; LI Liechtenstein; LK Sri Lanka; LR
Liberia; LS Lesotho; LT Lithuania; LU Luxembourg; LV Latvia; LY Libya; MA Morocco; MC Monaco; MD Moldova / Republic
of Moldova; ME Montenegro; MF St. Martin / Saint Martin; MG Madagascar; MH Marshall Islands; MK North Macedonia; ML
Mali; MM Myanmar; MN Mongolia; MO Macao; MP Northern Mariana Islands; MQ Martinique; MR Mauritania; MS Montserrat;
MT Malta; MU Mauritius; MV Maldives; MW Malawi; MX Mexico; MY Malaysia; MZ Mozambique; NA Namibia; NC New Caledonia;
NE Niger; NF Norfolk Island; NG Nigeria; NI Nicaragua; NL Netherlands / The Netherlands / Holland; NO Norway; NP
Nepal; NR Nauru; NU Niue / Niue **; NZ New Zealand; OM Oman; PA Panama; PE Peru; PF French Polynesia; PG Papua New
Guinea; PH Philippines; PK Pakistan; PL Poland; PM St. Pierre & Miquelon / Saint Pierre and Miquelon; PN Pitcairn;
PR Puerto Rico; PS Palestine / State of Palestine; PT Portugal; PW Palau; PY Paraguay; QA Qatar; RE Réunion; RO
Romania; RS Serbia; RU Russia / Russian Federation; RW Rwanda; SA Saudi Arabia; SB Solomon Islands; SC Seychelles;
SD Sudan; SE Sweden; SG Singapore; SH St. Helena / Saint Helena; SI Slovenia; SJ Svalbard & Jan Mayen / Svalbard and
Jan Mayen Islands; SK Slovakia; SL Sierra Leone; SM San Marino; SN Senegal; SO Somalia; SR Suriname; SS South Sudan;
ST São Tomé & Príncipe / Sao Tome and Principe; SV El Salvador; SX Sint Maarten; SY Syria / Syrian Arab Republic; SZ
Eswatini; TC Turks & Caicos Islands / Turks and Caicos Islands; TD Chad; TF French Southern Territories; TG Togo; TH
Thailand; TJ Tajikistan; TK Tokelau; TL Timor-Leste; TM Turkmenistan; TN Tunisia; TO Tonga; TR Türkiye / Turkey; TT
Trinidad & Tobago / Trinidad and Tobago; TV Tuvalu; TW Taiwan; TZ Tanzania / United Republic of Tanzania; UA
Ukraine; UG Uganda; UM U.S. Outlying Islands; US US / United States / United States of America / USA / U.S.A.; UY
Uruguay; UZ
Uzbekistan; VA Vatican City / Holy See; VC St. Vincent & Grenadines; VE Venezuela; VG British Virgin Islands; VI
U.S. Virgin Islands / United States Virgin Islands; VN Vietnam / Viet Nam; VU Vanuatu; WF Wallis & Futuna / Wallis
and Futuna Islands; WS Samoa; YE Yemen; YT Mayotte; ZA South Africa / RSA; ZM Zambia; ZW Zimbabwe
"""

_CODES: dict[str, str] = {}
for _entry in _NAMES.replace("\n", " ").split(";"):
    _code, _, _names = _entry.strip().partition(" ")
    _CODES[_code.lower()] = _code
    _CODES.update({name.strip().lower(): _code for name in _names.split(" / ")})


def iso_country(name: str) -> str:
    """The ISO 3166 alpha-2 code of a country's name or code; empty when it isn't known."""
    return _CODES.get(name.strip().lower(), "")
