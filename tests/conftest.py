"""While the tests run, every call checks the shapes and types in the library's annotations."""

from jaxtyping import install_import_hook

install_import_hook("ssmde_lib", "typechecked.typechecked")
