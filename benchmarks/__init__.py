"""`python -m benchmarks`: ours and the peers', side by side, in one run. See README.md beside this.

One file for each topic, each with a `run(context)` that gives rows. Speed is measured here and
nowhere else: a timed assertion in a test is a flaky test.
"""
