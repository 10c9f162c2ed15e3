//! What clients do by themselves when a put is refused for now, or its answer is lost.
