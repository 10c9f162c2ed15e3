//! Test doubles and fixtures that start the real servers. A dev-dependency only.
