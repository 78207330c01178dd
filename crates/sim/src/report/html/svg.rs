//! Drawing: scales, ticks and the few shapes that plots are made of. Coordinates are rounded to a tenth.

use std::fmt::Write as _;

/// `text` where markup is read: in an element or in a quoted attribute. Control characters, which no document may
/// hold, become blanks.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// A coordinate to a tenth, without a needless `.0`.
pub fn at(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Maps values to coordinates. Values outside are drawn at the edge.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// In proportion: `low` at `from`, `high` at `to`.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to, log: false }
    }

    /// By logarithm; `low` must be above 0.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { low, high: if high > low { high } else { low * 10.0 }, from, to, log: true }
    }

    /// Where a value is drawn.
    pub fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part * (self.to - self.from)
    }

    /// The value that is drawn at so many parts (`0..=1`) of the way.
    pub fn value(&self, part: f64) -> f64 {
        if self.log {
            self.low * (self.high / self.low).powf(part)
        } else {
            self.low + part * (self.high - self.low)
        }
    }

    /// Whether the scale has the value.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Round steps (1, 2 or 5 times a power of ten) that cut `0..=high` into at most `most` parts.
pub fn steps(high: f64, most: u32) -> Vec<f64> {
    let raw = (high / f64::from(most.max(1))).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= raw);
    let step = step.unwrap_or(power * 10.0);
    (0..=most).map(|count| f64::from(count) * step).take_while(|&value| value <= high * 1.000_001).collect()
}

/// A drawing that is being made.
#[derive(Debug)]
pub struct Drawing {
    out: String,
}

impl Drawing {
    /// An empty one with a name and a description for those who do not see it. `id` must be unique on the page.
    pub fn new(id: &str, width: f64, height: f64, title: &str, description: &str) -> Self {
        let (width, height, title, description) = (at(width), at(height), escape(title), escape(description));
        Self {
            out: format!(
                "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
                 <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>\n"
            ),
        }
    }

    /// The markup.
    pub fn done(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // A string takes whatever is written.
        self.out.write_fmt(arguments).unwrap_or_default();
    }

    /// What follows belongs to one class until [`Self::close`].
    pub fn open(&mut self, class: &str) {
        self.put(format_args!("<g class=\"{class}\">"));
    }

    /// The same, with lines as wide as this.
    pub fn open_wide(&mut self, class: &str, stroke: f64) {
        self.put(format_args!("<g class=\"{class}\" stroke-width=\"{}\">", at(stroke)));
    }

    /// The end of [`Self::open`].
    pub fn close(&mut self) {
        self.out.push_str("</g>\n");
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (at(from.0), at(from.1), at(to.0), at(to.1));
        self.put(format_args!("<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>"));
    }

    /// Lines from point to point.
    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut data = String::new();
        let mut last = None;
        for &(x, y) in points {
            let point = (at(x), at(y));
            if last.as_ref() != Some(&point) {
                write!(data, "{}{} {}", if last.is_none() { 'M' } else { 'L' }, point.0, point.1)
                    .unwrap_or_default();
                last = Some(point);
            }
        }
        self.shape(class, &data);
    }

    /// A path that is written already.
    pub fn shape(&mut self, class: &str, data: &str) {
        if !data.is_empty() {
            self.put(format_args!("<path class=\"{class}\" d=\"{data}\"/>"));
        }
    }

    /// A rectangle with a text that shows when it is pointed at.
    pub fn bar(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), tip: &str) {
        let (x, y, width, height) = (at(corner.0), at(corner.1), at(size.0), at(size.1));
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\">"
        ));
        self.put(format_args!("<title>{}</title></rect>", escape(tip)));
    }

    /// A dot with a text that shows when it is pointed at.
    pub fn dot(&mut self, class: &str, center: (f64, f64), radius: f64, tip: &str) {
        let (x, y, r) = (at(center.0), at(center.1), at(radius));
        self.put(format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\">"));
        self.put(format_args!("<title>{}</title></circle>", escape(tip)));
    }

    /// Words; `class` says where they are anchored: nothing (start), `mid` or `end`.
    pub fn text(&mut self, class: &str, place: (f64, f64), text: &str) {
        let (x, y) = (at(place.0), at(place.1));
        self.put(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text)));
    }

    /// A horizontal axis below a plot: ticks with words and lines through the plot.
    pub fn across(&mut self, scale: &Scale, plot: &Plot, ticks: &[(f64, String)], label: &str) {
        self.open("axis");
        for (value, word) in ticks.iter().filter(|(value, _)| scale.holds(*value)) {
            let x = scale.place(*value);
            self.line("grid", (x, plot.top), (x, plot.bottom));
            self.text("mid", (x, plot.bottom + 15.0), word);
        }
        self.line("base", (plot.left, plot.bottom), (plot.right, plot.bottom));
        self.text("mid name", ((plot.left + plot.right) / 2.0, plot.bottom + 31.0), label);
        self.close();
    }

    /// A vertical axis left of a plot.
    pub fn up(&mut self, scale: &Scale, plot: &Plot, ticks: &[(f64, String)]) {
        self.open("axis");
        for (value, word) in ticks.iter().filter(|(value, _)| scale.holds(*value)) {
            let y = scale.place(*value);
            self.line("grid", (plot.left, y), (plot.right, y));
            self.text("end", (plot.left - 6.0, y + 4.0), word);
        }
        self.close();
    }
}

/// The part of a drawing that data are drawn in.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    /// Left edge.
    pub left: f64,
    /// Right edge.
    pub right: f64,
    /// Upper edge.
    pub top: f64,
    /// Lower edge.
    pub bottom: f64,
}

impl Plot {
    /// A scale from left to right.
    pub fn x(&self, low: f64, high: f64) -> Scale {
        Scale::linear(low, high, self.left, self.right)
    }

    /// A scale from the lower to the upper edge.
    pub fn y(&self, low: f64, high: f64) -> Scale {
        Scale::linear(low, high, self.bottom, self.top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_scales_reach_their_ends() {
        assert_eq!(steps(7.0, 5), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(steps(1.0, 5).len(), 6);
        assert_eq!(steps(0.0, 5), [0.0]);
        let scale = Scale::log(1.0, 10_000.0, 0.0, 100.0);
        assert_eq!([1.0, 100.0, 1e9].map(|value| at(scale.place(value))), ["0", "50", "100"]);
        assert_eq!(at(scale.value(0.25)), "10");
        assert_eq!(at(Scale::linear(5.0, 5.0, 0.0, 10.0).place(5.0)), "0");
    }

    #[test]
    fn names_of_others_cannot_break_out_of_the_page() {
        assert_eq!(escape("<b onload='x'>&\"\u{1b}"), "&lt;b onload=&#39;x&#39;&gt;&amp;&quot; ");
    }
}
