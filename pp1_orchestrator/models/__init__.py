"""The models: plain tensor maths. Nothing here knows of processes, queues, HTTP or configuration files."""
