"""Handing out a note's file: to be saved, never to be shown or run."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from exceptions import files, said
from exceptions.models import CaseFile
from exceptions.workbench.cases import visible_case
from q2c.core.access import PersonRequest, requires

REFUSED = "Nothing in a file is covered. Only whoever gave it and those who may show masked values can take it."


@require_GET
@requires("exceptions.view_case")
def case_file(request: PersonRequest, case_id: int, file_id: int) -> HttpResponse:
    """A file of a case that the person sees, for who gave it and who may see masked values."""
    case = visible_case(request, case_id)
    file = CaseFile.objects.select_related("note__case").filter(pk=file_id, note__case=case).first()
    if file is None:
        raise Http404
    if not said.may_take(request.user, file):
        return HttpResponse(REFUSED, status=403, content_type="text/plain; charset=utf-8")
    try:
        body = files.hand_out(file, to=request.user)
    except files.FileRefused as refused:
        return HttpResponse(str(refused), status=409, content_type="text/plain; charset=utf-8")
    answer = HttpResponse(body, content_type=file.content_type)
    answer["Content-Disposition"] = content_disposition_header(True, file.name)
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return answer
