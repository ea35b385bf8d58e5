"""Files in, files out: every text of a table is classified, and the table written again with the answers beside it.

run.py       the whole run, from the first row to the renamed file
columns.py   what is added to a row, and under which names
forward.py   from the texts of a window to what the model says of them
native_files.py, fixed_shapes.py
             how: in C, where all threads share a window; or in shapes, batch by batch
description.py
             from there to the added columns
journal.py   what is done already, on disk: a killed run goes on from there
output.py    the bytes that are done already
progress.py  what a person is told meanwhile
errors.py    why a run cannot begin or go on
"""
