"""Tables that people have, read and written a window of rows at a time, for training and scoring alike.

table.py        the format that a file's name means; opens its reader and its writer
rows.py         what a row, a window, a reader and a writer are; when a text or a label is missing
columns.py      finds the chosen column among the names
source.py       lines of bytes: decompressed, decoded, counted and hashed
delimited.py    reads CSV and TSV; delimited_writer.py writes them
plain.py        reads plain text, a text a line
json_rows.py    JSON Lines, and a JSON array
parquet.py      Parquet, through pyarrow
errors.py       why a table cannot be read or written
"""
