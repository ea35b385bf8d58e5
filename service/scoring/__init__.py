"""Files in, files out: every text of a table is classified, and the table written again with the answers beside it.

run.py       the whole run, from the first row to the renamed file
columns.py   what is added to a row, and under which names
forward.py   from the texts of a window to the outcomes of the model
description.py
             from the outcomes to the added columns
journal.py   what is done already, on disk: a killed run goes on from there
output.py    the bytes that are done already
progress.py  what a person is told meanwhile
errors.py    why a run cannot begin or go on
"""
