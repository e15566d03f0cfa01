"""Train classifiers with and without a twist, on Lightning: ``python -m convtwist.train`` says how.

Book: chapter 11.  The engine brings the loop, the progress bar, the logs, resuming and many processes; here are one
module, one data module, the networks and the recipes.  :mod:`.fashion`, :mod:`.layers` and :mod:`.networks` need
torch and numpy alone; the rest needs the extra ``train``.
"""
