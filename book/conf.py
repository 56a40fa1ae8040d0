"""The book: the executed notebooks of a run, the documentation and the API reference as one site, built by `make book`.

It needs no network, when built and when read: equations are MathML, search runs from file://.
"""

from latex2mathml.converter import convert

project = "SS-MDE"
author = "SS-MDE tutorial authors"
html_title = "SS-MDE: monocular depth from video"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # captions have equations
autodoc_typehints = "none"  # signatures show them already
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
suppress_warnings = [
    "mystnb.unknown_mime_type",  # the state of ipywidgets, whose pictures stand beside them
    "misc.highlighting_failure",  # blocks of notation are no program
]

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "use_download_button": False,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def mathml(latex: str, display: str) -> str:
    """MathML of an equation; `aligned` is what latex2mathml calls `align*`."""
    return convert(" ".join(latex.replace("{aligned}", "{align*}").split()), display=display)


def visit_inline(self, node) -> None:
    from docutils.nodes import SkipNode

    self.body.append(mathml(node.astext(), "inline"))
    raise SkipNode


def visit_block(self, node) -> None:
    from docutils.nodes import SkipNode

    self.body.append(f'<div class="math-block">{mathml(node.astext(), "block")}</div>')
    raise SkipNode


def escape(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: what reStructuredText would see in them is escaped."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = line.split("`")
            text = [part.replace("*", r"\*").replace("|", r"\|").replace("_ ", r"\_ ") for part in parts[::2]]
            code = [f"``{part}``" for part in parts[1::2]]
            lines[i] = "".join(t + c for t, c in zip(text, [*code, ""], strict=True)) if len(parts) % 2 else line


def setup(app) -> None:
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
