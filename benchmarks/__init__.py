"""What the house costs beside code written by hand: ``python -m benchmarks [NAME]``. Never part of the tests."""
