"""The conformance kit of the Packhorse protocol: it tests any client library and any broker.

    packhorse-conformance client -- python -m packhorse.driver
    packhorse-conformance broker --url tcp://127.0.0.1:7225

`DRIVER.md` says what a client library ships to be tested, `README.md` how to begin. Scenarios are
in `client_scenarios/` and `broker_scenarios/`, a file for each subject; `stage.py` and `site.py`
are what they are given.
"""
