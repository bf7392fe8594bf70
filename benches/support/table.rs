//! Numbers as tables in Markdown, aligned for those who read them as they are.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each bench uses its own part of this")]

use std::fmt;
use std::time::Duration;

/// A table. The first columns hold text, the others numbers, which stand to the right.
#[derive(Debug, Clone)]
pub struct Table {
    texts: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `texts` is the number of columns that hold text.
    pub fn new(texts: usize, head: &[&str]) -> Self {
        Self { texts, rows: vec![head.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Adds a row; cells that are missing at its end stay empty.
    pub fn row(&mut self, mut cells: Vec<String>) {
        assert!(cells.len() <= self.rows[0].len(), "{cells:?}");
        cells.resize(self.rows[0].len(), String::new());
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap().max(3);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        for (n, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column < self.texts { write!(f, "| {cell:<width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")?;
            if n == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let end = if column < self.texts { '-' } else { ':' };
                    write!(f, "|{:-<1$}{end}", "", width + 1)?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// `1.23 s`, `45.6 ms`, `780 µs`: three digits.
pub fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => digits(micros / 1e3, "ms"),
        _ => digits(micros / 1e6, "s"),
    }
}

/// `1.20 GB`, `45.6 MB`, in powers of 1000.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e3 => format!("{bytes:.0} B"),
        ..1e6 => digits(bytes / 1e3, "kB"),
        ..1e9 => digits(bytes / 1e6, "MB"),
        _ => digits(bytes / 1e9, "GB"),
    }
}

/// `12.3 MiB`, as memory is counted.
pub fn memory(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// `1,048,576`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// A ratio with three digits, or two where it is small: `0.043`, `0.43`, `4.30`, `43.0`.
pub fn ratio(ratio: f64) -> String {
    match ratio {
        ..0.1 => format!("{ratio:.3}"),
        ..10.0 => format!("{ratio:.2}"),
        _ => format!("{ratio:.1}"),
    }
}

fn digits(value: f64, unit: &str) -> String {
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        ..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// The middle one; of an even number, the lower of the two.
pub fn median<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values[(values.len() - 1) / 2]
}
