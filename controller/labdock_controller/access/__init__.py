"""Who may do what: `rights` decides, `users` and `tokens` keep who is who."""
