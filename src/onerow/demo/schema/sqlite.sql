CREATE TABLE workouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    workout_type TEXT NOT NULL,
    planned_duration NUMERIC NOT NULL,
    originally_planned_day DATE NOT NULL
);

-- One row per workout in the model, and no unique key below it. AUTOINCREMENT, because SQLite
-- otherwise gives the id of a deleted row to the next one, and that row could not come back.
CREATE TABLE workout_selections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workout_id INTEGER NOT NULL REFERENCES workouts (id),
    is_selected BOOLEAN NOT NULL DEFAULT 1,
    current_plan_day DATE,
    time_of_day TEXT,
    workout_location TEXT,
    user_notes TEXT,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
CREATE INDEX workout_selections_workout_id ON workout_selections (workout_id);

CREATE TABLE selection_reminders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    selection_id INTEGER NOT NULL REFERENCES workout_selections (id) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    minutes_before INTEGER NOT NULL
);
CREATE INDEX selection_reminders_selection_id ON selection_reminders (selection_id)
