"""`rbr plan`: forecasts a run and estimates its cost. `plan_view` renders the plan."""
