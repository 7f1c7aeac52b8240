"""What the page of an asset in the Dagster UI shows: table previews and plots."""
