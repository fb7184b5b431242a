"""The HTTP interface of a running stream. Knows nothing of process groups, models or configuration files.

Nothing is imported here: FastAPI, uvicorn and the panel cost seconds.
"""
