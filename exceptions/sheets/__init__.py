"""Cases as spreadsheets that go out sealed and come back as proposals."""
