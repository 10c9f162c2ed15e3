//! Damage that no crash explains: it is set aside, counted and told, and never stops the journal from opening.
