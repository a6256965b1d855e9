"""What no process of the suite may do: see sitecustomize.py."""
