"""What a sweep measured: its jobs' folders read, ranked, drawn and written down as report.md and report.html."""
