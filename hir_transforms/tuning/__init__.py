"""Settings that are left to be chosen by trial on hidden target documents."""
