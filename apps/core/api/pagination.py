import re
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination

POSITION = re.compile(r"[0-9]{1,18}")  # of a column that is a number, as every ordering of ours begins with


class NewestFirst(CursorPagination):
    """Cursor paging: constant cost at any depth, stable while rows are added. `?page_size=` up to 200."""

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def decode_cursor(self, request: Any) -> Any:
        """A cursor somebody made up is no page, where REST framework would hand its text to the database."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not POSITION.fullmatch(cursor.position):
            raise NotFound(self.invalid_cursor_message)
        return cursor
