# The portal as an image: web, worker, beat and migrations are the same image with another command (compose.yaml).
FROM python:3.12-slim-bookworm AS build
WORKDIR /app
COPY pyproject.toml README.md ./
COPY q2c q2c
COPY connectors connectors
COPY mappings mappings
COPY exceptions exceptions
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --quiet ".[otel]" && /venv/bin/pip uninstall --quiet --yes q2c-portal

FROM python:3.12-slim-bookworm
RUN useradd --system --create-home --uid 10001 q2c && mkdir -p /var/lib/q2c /archive && chown q2c /var/lib/q2c /archive
WORKDIR /app
COPY --from=build /venv /venv
COPY . .
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=q2c.settings Q2C_HOME=/var/lib/q2c Q2C_STATIC_ROOT=/app/staticfiles Q2C_BIND=0.0.0.0:8000
# Only collects files: no database, no key that anybody will use.
RUN Q2C_ENV=demo Q2C_HOME=/tmp/build python manage.py collectstatic --noinput --verbosity=0 && rm -rf /tmp/build
USER q2c
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "docs/compose/healthcheck.py"]
CMD ["gunicorn", "-c", "python:q2c.web_server", "q2c.wsgi"]
