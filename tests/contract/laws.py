"""The laws of the house as checkers: each takes the root folder and gives its violations, one line each.

They read syntax trees and import nothing of what they read, so that they hold any tree to the law, planted ones too.
"""

import inspect

from contract import laws_of_doors, laws_of_kernels, laws_of_papers, laws_of_structure

LAWS = {name: law for module in (laws_of_structure, laws_of_doors, laws_of_kernels, laws_of_papers)
        for name, law in inspect.getmembers(module, inspect.isfunction)
        if law.__module__ == module.__name__ and not name.startswith("_")}
