"""The HTTP interface of a running stream. Knows nothing of process groups, models or configuration files.

Imports nothing, because FastAPI and uvicorn take seconds to import.
"""
