"""The labs on the page: one call gives an interactive figure that works in the book and in a notebook.

Book: the correlation stepper belongs to chapter 1, the size calculator to chapters 3 to 5.

Each lab is plain JavaScript (the ``.mjs`` files beside this one), put whole into the cell's output: no
server, no widget manager, no network.  The same stored output runs in the built book, from ``file://``, in
JupyterLab and on Colab.
"""

from convtwist.labs.calculator import size_calculator
from convtwist.labs.page import Lab
from convtwist.labs.stepper import correlation_stepper

__all__ = ["Lab", "correlation_stepper", "size_calculator"]
