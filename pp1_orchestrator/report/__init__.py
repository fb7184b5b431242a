"""A sweep's report: reads the jobs' folders, recommends a job, draws plots, writes report.md and report.html."""
