"""The Packhorse broker: `broker.py` puts it together, `daemon.py` runs it, `local.py` embeds it."""
