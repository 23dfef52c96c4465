"""Searches of the controller: the engine with what it may reach, and search jobs with their kept results."""
