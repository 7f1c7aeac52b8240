"""`rbr attack`: attacks the grader with texts inside replies. `attack_view` renders the result."""
