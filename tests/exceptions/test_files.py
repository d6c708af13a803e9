"""Files beside a note: what is kept, how it is handed out, and what isn't taken."""

import hashlib
import io
import socketserver
import struct
import threading
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import Error
from django.db.transaction import atomic
from django.test import Client

from exceptions.files import FileRefused, checked_name, hand_out, take
from exceptions.models import CaseFile
from q2c.core import customer_keys, vault
from q2c.core.models import AuditEntry, CustomerKey
from tests import factories

pytestmark = pytest.mark.django_db
PDF = b"%PDF-1.7 what the bank says"


def package(*names: str) -> bytes:
    """A zipped package of these parts."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as parts:
        for name in names:
            parts.writestr(name, "<part/>")
    return made.getvalue()


def browser(role: str, **how) -> Client:
    client = Client()
    client.force_login(factories.make_person(role, **how))
    return client


def test_a_file_is_kept_with_its_note_and_handed_out_to_be_saved_and_never_run():
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    ben = browser("billing_ops")
    given = {"text": "See the bank's word", "file": SimpleUploadedFile("../bank <b>.PDF", PDF, "text/html")}
    page = ben.post(f"/exceptions/cases/{case.pk}/note/", given, follow=True).content.decode()
    file = CaseFile.objects.get()
    assert (file.name, file.size_bytes, file.sha256) == ("bank _b_.PDF", len(PDF), hashlib.sha256(PDF).hexdigest())
    address = f"/exceptions/cases/{case.pk}/files/{file.pk}/"
    assert f'href="{address}" download>bank _b_.PDF</a>' in page
    answer = ben.get(address)
    assert (answer.content, answer["Content-Type"], answer["X-Content-Type-Options"]) == (
        PDF, "application/pdf", "nosniff",
    )  # fmt: skip
    assert answer["Content-Disposition"] == 'attachment; filename="bank _b_.PDF"'
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    told = AuditEntry.objects.filter(subject_type="case", subject_id=str(case.pk), data__sha256=file.sha256)
    assert list(told.order_by("sequence").values_list("verb", flat=True)) == ["attach_file", "take_file"]
    other = factories.make_case(transactions=[factories.make_transaction("held")])
    assert ben.get(f"/exceptions/cases/{other.pk}/files/{file.pk}/").status_code == 404
    assert browser("billing_ops", username="us", entities=("US01",)).get(address).status_code == 404
    with pytest.raises(Error, match="as_given"), atomic():
        CaseFile.objects.update(name="another.pdf")


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("page.html", b"<script>", "Files can be PDF, PNG, JPEG, CSV, TXT, EML, XLSX or DOCX."),
        ("noname", PDF, "Files can be PDF, PNG, JPEG, CSV, TXT, EML, XLSX or DOCX."),
        ("bill.pdf", b"<html><script>", "It isn’t what its name says: no PDF."),
        ("rows.xlsx", b"PK\x03\x04 no package", "It isn’t what its name says: no XLSX."),
        ("rows.xlsx", package("word/document.xml"), "It isn’t what its name says: no XLSX."),
        ("rows.xlsx", package("xl/workbook.xml", "xl/vbaProject.bin"), "It holds macros. Send it without them."),
        ("rows.csv", b"a\x00b", "It isn’t what its name says: no CSV."),
        ("rows.txt", b"\xff\xfe", "It isn’t what its name says: no TXT."),
        ("bill.pdf", b"", "The file is empty."),
        ("bill.pdf", PDF + b" " * 5 * 1024 * 1024, "The file is larger than 5 MB."),
    ],
)
def test_what_is_not_taken_is_said_and_nothing_is_kept(name, body, said):
    with pytest.raises(FileRefused, match=said):
        checked_name(name, body)


def test_a_note_whose_file_is_refused_is_not_kept_either():
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    given = {"text": "See this", "file": SimpleUploadedFile("page.html", b"<script>")}
    answer = browser("billing_ops").post(f"/exceptions/cases/{case.pk}/note/", given)
    assert answer.status_code == 422
    assert "Files can be PDF" in answer.content.decode()
    assert (case.notes.count(), CaseFile.objects.count()) == (1, 0)


def test_a_package_that_holds_what_its_name_says_is_taken():
    assert checked_name("letter.docx", package("word/document.xml", "docProps/app.xml")) == "letter.docx"


def held_of(*customers: str, also=()):
    """A case whose documents came of these customers' messages, and these other ones."""
    keys = customer_keys.ensure_keys([("stripe", customer) for customer in customers])
    txns = []
    for key in keys.values():
        message = factories.make_message(customer_key_id=key)
        txns.append(factories.make_transaction("held", event_id=message.event_id))
    return factories.make_case(transactions=[*txns, *also])


def test_a_file_is_sealed_and_gone_with_the_key_of_the_one_customer_of_its_case():
    file = factories.make_file(held_of("cus_ada"), body=PDF)
    file.refresh_from_db()
    key = CustomerKey.objects.get()
    assert (PDF in bytes(file.body), file.customer_key_id) == (False, key.pk)
    ben = factories.make_person("billing_ops")
    assert hand_out(file, to=ben) == PDF
    customer_keys.destroy_key(key.pk)
    with pytest.raises(FileRefused, match="its customer was erased"):
        hand_out(file, to=ben)
    given = {"text": "Once more", "file": SimpleUploadedFile("bank.pdf", PDF)}
    answer = browser("billing_ops", username="bo").post(f"/exceptions/cases/{file.note.case_id}/note/", given)
    assert (answer.status_code, "customer was erased" in answer.content.decode()) == (422, True)


def test_a_file_of_a_case_of_several_customers_is_under_the_master_key():
    file = factories.make_file(held_of("cus_ada", "cus_ben"), body=PDF)
    assert file.customer_key_id is None
    assert vault.open_sealed(bytes(file.body), vault.open_with_master(bytes(file.body_key))) == PDF


@pytest.mark.parametrize("has_message", [True, False])
def test_a_file_of_a_case_with_a_document_that_is_nobodys_is_under_the_master_key(has_message):
    of = {"event_id": factories.make_message().event_id} if has_message else {}
    case = held_of("cus_ada", also=[factories.make_transaction("held", **of)])
    assert factories.make_file(case).customer_key_id is None


def test_a_file_is_handed_out_only_to_who_gave_it_and_who_may_see_masked_values():
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    ben = browser("billing_ops")
    file = factories.make_file(case)  # by ben
    address = f"/exceptions/cases/{case.pk}/files/{file.pk}/"
    assert ben.get(address).status_code == 200
    assert browser("controller").get(address).status_code == 200
    auditor = browser("auditor")
    answer = auditor.get(address)
    assert (answer.status_code, "those who may show masked values" in answer.content.decode()) == (403, True)
    page = auditor.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert (address in page, "remittance.pdf" in page) == (False, True)


class Clamd(socketserver.BaseRequestHandler):
    """A scanner that speaks INSTREAM and finds what says EICAR."""

    def handle(self):
        with self.request.makefile("rb") as line:
            assert line.read(10) == b"zINSTREAM\0"
            body = b""
            while size := struct.unpack("!I", line.read(4))[0]:
                body += line.read(size)
        self.server.got.append(len(body))
        said = b"stream: Eicar-Signature FOUND" if b"EICAR" in body else b"stream: OK"
        self.request.sendall((b"INSTREAM size limit exceeded. ERROR" if b"HUGE" in body else said) + b"\0")


@pytest.fixture
def clamd(settings):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Clamd)
    server.got = []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    settings.CLAMD = f"127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


def test_a_file_is_looked_through_before_it_is_kept_and_one_with_a_virus_is_refused_by_its_name(clamd):
    body = PDF + b" " * 100_000
    assert take("bank.pdf", body).scan == "clean"
    assert clamd.got == [len(body)]
    with pytest.raises(FileRefused, match="The virus scanner found Eicar-Signature in it"):
        take("bank.pdf", PDF + b"EICAR")
    with pytest.raises(FileRefused, match="can’t be reached"):
        take("bank.pdf", PDF + b"HUGE")


def test_without_its_scanner_no_file_is_taken_and_without_any_the_page_says_not_scanned(clamd, settings):
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    address, ben = f"/exceptions/cases/{case.pk}/note/", browser("billing_ops")
    ben.post(address, {"text": "Scanned", "file": SimpleUploadedFile("a.pdf", PDF)})
    settings.CLAMD = "127.0.0.1:1"
    answer = ben.post(address, {"text": "See this", "file": SimpleUploadedFile("b.pdf", PDF)})
    said = "The virus scanner can’t be reached, so no file is taken now."
    assert (answer.status_code, said in answer.content.decode()) == (422, True)
    settings.CLAMD = ""
    page = ben.post(address, {"text": "Not", "file": SimpleUploadedFile("c.pdf", PDF)}, follow=True).content.decode()
    assert list(CaseFile.objects.order_by("pk").values_list("name", "scan")) == [("a.pdf", "clean"), ("c.pdf", "none")]
    assert "not scanned</span>" in page
    assert "Files are not scanned for viruses." in page
