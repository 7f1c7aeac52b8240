"""How well a grader agrees with people (paper sections 5 and 6).

`judgments` matches grades with the labels of the same replies. From these, `gold_agreement` measures each proposition,
`category_agreement` the categories of prompts, `reliability` the probabilities, and `class_calibration` the classes;
`dependent_pairs` finds propositions that move together. `intervals` bounds each measure, and `acceptance` decides which
propositions may become features.
"""
