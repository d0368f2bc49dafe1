"""What shows itself as a page: in a notebook, and as a file."""

from __future__ import annotations

import functools
from pathlib import Path

__all__ = ["Document"]


class Document:
    """A record with a page. ``_render`` makes the page, ``title`` names it."""

    title: str

    def _render(self) -> str:
        raise NotImplementedError

    @functools.cached_property
    def html(self) -> str:
        """The page: one HTML document that loads nothing else.

        Returns
        -------
        str

        Raises
        ------
        ImportError
            If bokeh is not installed.
        """
        return self._render()

    def save(self, path: str | Path) -> Path:
        """Write the page to a file.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Path
            The same, as a Path.

        Raises
        ------
        OSError
            If the file cannot be written.
        ImportError
            If bokeh is not installed.
        """
        path = Path(path)
        path.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        document = self.html.replace("&", "&amp;").replace('"', "&quot;")
        return (
            f'<iframe title="{self.title}" srcdoc="{document}" '
            'style="width: 100%; height: 900px; border: 0"></iframe>'
        )
