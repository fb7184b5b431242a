"""Where the program is put together: processes, devices, and which class stands for which word of configuration."""
