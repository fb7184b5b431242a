"""The routes of the documented interface, a file for each subject.

Each route is a few lines: check, hand over, answer.
"""
