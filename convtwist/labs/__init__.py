"""The labs on the page: one call gives an interactive figure that works in the book and in a notebook.

Book: the correlation stepper belongs to chapter 1, the channel sum to chapter 2, the receptive field to chapter 3,
the size calculator to chapters 3 to 5, the checkerboard to chapter 5, the kernel microscope to chapters 6 and 7, the
flow lab to chapter 8, the twist lab to chapter 9, the channel board to chapter 10; answer boxes stand under the
exercises.

Each lab is plain JavaScript (the ``.mjs`` files beside this one), put whole into the cell's output: no
server, no widget manager, no network.  The same stored output runs in the built book, from ``file://``, in
JupyterLab and on Colab.
"""

from convtwist.labs.answer_box import answer_box
from convtwist.labs.channel_board import channel_board
from convtwist.labs.channel_sum import channel_sum
from convtwist.labs.checkerboard import checkerboard
from convtwist.labs.correlation_stepper import correlation_stepper
from convtwist.labs.flow_lab import flow_lab
from convtwist.labs.kernel_microscope import kernel_microscope
from convtwist.labs.page import Lab
from convtwist.labs.receptive_field import receptive_field
from convtwist.labs.size_calculator import size_calculator
from convtwist.labs.twist_lab import twist_lab

__all__ = [
    "Lab",
    "answer_box",
    "channel_board",
    "channel_sum",
    "checkerboard",
    "correlation_stepper",
    "flow_lab",
    "kernel_microscope",
    "receptive_field",
    "size_calculator",
    "twist_lab",
]
