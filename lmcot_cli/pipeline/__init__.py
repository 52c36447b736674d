"""From rows to results: rationales, answers, vote, journal. It prints nothing and knows no command."""
