"""What people read: tables, verdict, figures and the run directory."""
