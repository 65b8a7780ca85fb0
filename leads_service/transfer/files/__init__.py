"""Files, read and written: encodings, dialects, workbooks, headings, cells."""
