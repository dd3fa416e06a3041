"""Settings of the documentation: `make docs` writes it to out/docs."""

import mdpkit

project = "mdpkit"
author = "The mdpkit developers"
release = mdpkit.__version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
autosummary_generate = False
autodoc_typehints = "none"            # the docstrings give shapes and ranges, which annotations cannot
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {"description": "Exact small worlds, certified answers, claims held to account",
                      "fixed_sidebar": True, "page_width": "70rem", "sidebar_width": "15rem"}
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
