//! Services: started before the first case, watched until ready, stopped after the last.
