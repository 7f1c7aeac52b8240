"""The columns of the stored tables: type, range and meaning, one module per stage.

The store checks frames against these schemas. Ids are content hashes of 16 hexadecimal characters. Probabilities and
shares are in [0, 1]. A missing measurement is null, never 0 or 0.5.
"""
