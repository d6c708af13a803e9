#!/bin/sh
# Run once by PostgreSQL's image on an empty volume: the owner of the tables, and the role that the portal runs as.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  -v owner_password="$Q2C_OWNER_PASSWORD" -v app_password="$Q2C_APP_PASSWORD" <<'SQL'
CREATE ROLE q2c_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE q2c_app LOGIN PASSWORD :'app_password';
CREATE DATABASE q2c OWNER q2c_owner TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
SQL
