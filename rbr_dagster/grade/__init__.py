"""`rbr grade`: grades a file of replies. `grade_view` renders the counts."""
