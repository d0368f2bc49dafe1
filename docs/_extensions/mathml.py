"""Formulas as MathML, which browsers draw themselves: no script, no font, no request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator


BARS = re.compile(r"<mo[^>]*>([|\u2016\u2223\u2225])</mo>")
"""Bars of norms: one that stretches to its own exponent would be longer than the other."""
NAME = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<mo[^>]*>\()")
"""Behind the name of a function whose argument has no brackets, such as tr or log."""
FACTOR = re.compile(r"(</mi>|\)</mo>)(?=\s*<mi[^>]*>\w{2,}</mi>\s*<mo>&ApplyFunction;)")
"""Between a factor and the name of a function."""
LIMIT = re.compile(r"<mo>(max|min)</mo>(?=\s*<mo[^>]*>\()")
"""A name that has the space of an operator around it, before the bracket of its arguments."""
SPACE = '<mspace width="0.1667em"></mspace>'


def markup(formula: str, *, as_block: bool = False) -> str:
    """A formula as MathML."""
    found = BARS.sub(r'<mo stretchy="false">\1</mo>', tex2mathml(formula, as_block=as_block))
    found = LIMIT.sub(r"<mi>\1</mi>", found)
    found = FACTOR.sub(rf"\1{SPACE}", found)
    return NAME.sub(rf"\g<0>{SPACE}", found).replace(
        'class="capital-greek"', 'mathvariant="normal"'
    )


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(markup(node.astext()))
    raise nodes.SkipNode


def block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    translator.body.append(f'<div class="math">{markup(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
