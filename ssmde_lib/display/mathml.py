"""Equations that browsers show without a script."""

import re

MATH = re.compile(r"(`+).*?\1|\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$\n]+?)(?<!\\)\$", re.DOTALL)


def to_mathml(text: str) -> str:
    """Markdown with its `$…$` and `$$…$$` made MathML, which browsers show without any script; code spans stay."""
    from latex2mathml.converter import convert

    def replace(match: re.Match) -> str:
        if match[1]:
            return match[0]
        latex = (match["block"] or match["inline"]).replace("{aligned}", "{align*}")
        return convert(" ".join(latex.split()), display="block" if match["block"] else "inline")

    return MATH.sub(replace, text)
