//! The charts.

use std::fmt::Write as _;

use plotters::{
    element::{
        Circle, Cross, DashedPathElement, DynElement, EmptyElement, IntoDynElement as _, PathElement,
        Rectangle, Text, TriangleMarker,
    },
    prelude::{ChartBuilder, Color as _, IntoDrawingArea as _, RGBColor, SVGBackend, ShapeStyle},
    style::{
        IntoFont as _, TRANSPARENT, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::page::escaped;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 320;
const FONT: (&str, i32) = ("sans-serif", 14);
/// Colours that the colour-blind tell apart (Okabe and Ito); the dashes do so without any.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 120, 90),
    RGBColor(150, 70, 130),
    RGBColor(90, 90, 90),
    RGBColor(140, 100, 0),
];
/// Lengths of a dash and of the gap behind it; the first line is solid.
const DASHES: [(i32, i32); 6] = [(0, 0), (9, 5), (2, 4), (16, 5), (5, 9), (12, 2)];
/// How long the line of a series is in the legend, and how many letters of its name stand there.
const LINE: i32 = 40;
const NAME: usize = 24;
/// Letters of the name of a bar.
const BAR_NAME: usize = 40;
/// Points that get marks; more of them would be a carpet.
const MARKED: usize = 70;

/// What goes from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// Days since 1970-01-01.
    Days,
    /// Months since January 1970.
    Months,
    /// Hours of the day, 0 to 23.
    Hours,
}

impl Across {
    /// The place of a day; none where hours go across.
    pub fn place(self, day: jiff::civil::Date) -> Option<i64> {
        match self {
            Self::Days => {
                let since = day.duration_since(jiff::civil::Date::constant(1970, 1, 1));
                Some(since.as_hours().div_euclid(24))
            }
            Self::Months => Some((i64::from(day.year()) - 1970) * 12 + i64::from(day.month()) - 1),
            Self::Hours => None,
        }
    }

    /// What stands below a place.
    fn labels(self) -> &'static dyn Fn(&i64) -> String {
        match self {
            Self::Days => &|at| Self::Days.label(*at),
            Self::Months => &|at| Self::Months.label(*at),
            Self::Hours => &|at| Self::Hours.label(*at),
        }
    }

    fn label(self, value: i64) -> String {
        match self {
            Self::Days => jiff::civil::Date::constant(1970, 1, 1)
                .checked_add(jiff::Span::new().try_days(value).unwrap_or_default())
                .map(|date| date.to_string())
                .unwrap_or_default(),
            Self::Months => format!("{}-{:02}", 1970 + value.div_euclid(12), 1 + value.rem_euclid(12)),
            Self::Hours if (0..24).contains(&value) => format!("{value:02}:00"),
            Self::Hours => String::new(),
        }
    }
}

/// A line of a chart.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points from left to right.
    pub points: Vec<(i64, f64)>,
}

/// A bar with its name.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its length.
    pub value: f64,
}

/// The chart could not be drawn; a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("a chart cannot be drawn: {0}")]
pub struct ChartError(String);

fn failed(error: impl std::fmt::Display) -> ChartError {
    ChartError(error.to_string())
}

/// Lines over time, of at most six series: each with dashes and marks of its own.
///
/// # Errors
/// [`ChartError`].
pub fn lines(title: &str, across: Across, up: &str, series: &[Series]) -> Result<String, ChartError> {
    let all = || series.iter().flat_map(|series| &series.points);
    let (first, last) = range(all().map(|(at, _)| *at));
    let top = top(all().map(|(_, value)| *value));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        // The names stand beside the lines, where they hide none.
        let (drawing, legend) = match series.len() {
            0 | 1 => (area.clone(), None),
            _ => {
                let longest = series.iter().map(|series| series.name.chars().count()).max().unwrap_or(0);
                let room = LINE + 30 + 8 * i32::try_from(longest.clamp(4, NAME)).unwrap_or(0);
                let (left, right) = area.split_horizontally(i32::try_from(WIDTH).unwrap_or(0) - room);
                (left, Some(right))
            }
        };
        let mut chart = ChartBuilder::on(&drawing)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .margin_right(44)
            .x_label_area_size(34)
            .y_label_area_size(74)
            .build_cartesian_2d(first..last, 0.0..top)
            .map_err(failed)?;
        mesh(&mut chart.configure_mesh(), across, up, first, last)?;
        for (index, series) in series.iter().enumerate() {
            let style = COLOURS[index % COLOURS.len()].stroke_width(2);
            let (dash, gap) = DASHES[index % DASHES.len()];
            chart
                .draw_series(std::iter::once(path(series.points.clone(), (dash, gap), style)))
                .map_err(failed)?;
            if let Some(legend) = &legend {
                let y = 46 + 22 * i32::try_from(index).unwrap_or(0);
                let filled = COLOURS[index % COLOURS.len()].filled();
                legend.draw(&path(vec![(6, y), (6 + LINE, y)], (dash, gap), style)).map_err(failed)?;
                legend.draw(&(EmptyElement::at((6 + LINE / 2, y)) + mark(index, filled))).map_err(failed)?;
                let name: String = series.name.chars().take(NAME).collect();
                legend.draw(&Text::new(name, (14 + LINE, y - 7), FONT)).map_err(failed)?;
            }
            if series.points.len() <= MARKED {
                chart
                    .draw_series(series.points.iter().map(|point| {
                        EmptyElement::at(*point) + mark(index, COLOURS[index % COLOURS.len()].filled())
                    }))
                    .map_err(failed)?;
            }
        }
        area.present().map_err(failed)?;
    }
    Ok(named(svg, title))
}

/// A line with dashes, or without.
fn path<DB: plotters::prelude::DrawingBackend, At: Clone + 'static>(
    points: Vec<At>,
    (dash, gap): (i32, i32),
    style: ShapeStyle,
) -> DynElement<'static, DB, At> {
    if dash == 0 {
        PathElement::new(points, style).into_dyn()
    } else {
        DashedPathElement::new(points, dash, gap, style).into_dyn()
    }
}

/// The mark of a series.
fn mark<DB: plotters::prelude::DrawingBackend>(
    index: usize,
    style: ShapeStyle,
) -> DynElement<'static, DB, (i32, i32)> {
    match index % 4 {
        0 => Circle::new((0, 0), 3, style).into_dyn(),
        1 => TriangleMarker::new((0, 0), 5, style).into_dyn(),
        2 => Cross::new((0, 0), 3, style.stroke_width(2)).into_dyn(),
        _ => Rectangle::new([(-3, -3), (3, 3)], style).into_dyn(),
    }
}

/// Columns over time, one for each day, month or hour.
///
/// # Errors
/// [`ChartError`].
pub fn columns(title: &str, across: Across, up: &str, points: &[(i64, f64)]) -> Result<String, ChartError> {
    let (first, mut last) = range(points.iter().map(|(at, _)| *at));
    if across == Across::Hours {
        last = 23;
    }
    let first = if across == Across::Hours { 0 } else { first };
    let top = top(points.iter().map(|(_, value)| *value));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .margin_right(44)
            .x_label_area_size(34)
            .y_label_area_size(74)
            .build_cartesian_2d(first..last + 1, 0.0..top)
            .map_err(failed)?;
        mesh(&mut chart.configure_mesh(), across, up, first, last)?;
        let gap = if last - first < 100 { 1 } else { 0 };
        chart
            .draw_series(points.iter().map(|(at, value)| {
                let mut column = Rectangle::new([(*at, 0.0), (*at + 1, *value)], COLOURS[0].filled());
                column.set_margin(0, 0, gap, gap);
                column
            }))
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(named(svg, title))
}

/// The axes.
fn mesh<DB: plotters::prelude::DrawingBackend>(
    mesh: &mut plotters::chart::MeshStyle<
        '_,
        '_,
        plotters::coord::types::RangedCoordi64,
        plotters::coord::types::RangedCoordf64,
        DB,
    >,
    across: Across,
    up: &str,
    first: i64,
    last: i64,
) -> Result<(), ChartError> {
    let wanted = usize::try_from(last - first + 1).unwrap_or(1).clamp(2, 8);
    mesh.disable_x_mesh()
        .x_labels(wanted)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .y_desc(up)
        .x_label_formatter(across.labels())
        .y_label_formatter(&|value| short(*value))
        .draw()
        .map_err(failed)
}

/// Bars from left to right, with their names before them and their values behind.
///
/// # Errors
/// [`ChartError`].
pub fn bars(title: &str, bars: &[Bar]) -> Result<String, ChartError> {
    const ROW: i32 = 26;
    const VALUES: i32 = 110;
    let pixels = |count: usize| i32::try_from(count).unwrap_or(0);
    let height = 50 + ROW * pixels(bars.len().max(1));
    let longest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
    let left = 24 + 8 * pixels(longest.clamp(4, BAR_NAME));
    let room = f64::from(pixels(WIDTH as usize) - left - VALUES);
    let top = top(bars.iter().map(|bar| bar.value));
    let mut svg = String::new();
    {
        let size = (WIDTH, u32::try_from(height).unwrap_or(HEIGHT));
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let text = |size: i32, across: HPos| {
            TextStyle::from((FONT.0, size).into_font()).pos(Pos::new(across, VPos::Center))
        };
        let heading = text(18, HPos::Center);
        area.draw(&Text::new(title.to_owned(), (pixels(WIDTH as usize) / 2, 22), heading)).map_err(failed)?;
        for (index, bar) in bars.iter().enumerate() {
            let (y, end) = (46 + ROW * pixels(index), left + length(bar.value / top * room));
            let name: String = bar.name.chars().take(BAR_NAME).collect();
            area.draw(&Text::new(name, (left - 8, y + ROW / 2), text(FONT.1, HPos::Right)))
                .map_err(failed)?;
            let drawn =
                Rectangle::new([(left, y + 4), (end.max(left + 1), y + ROW - 4)], COLOURS[0].filled());
            area.draw(&drawn).map_err(failed)?;
            let value = Text::new(exact(bar.value), (end + 8, y + ROW / 2), text(FONT.1, HPos::Left));
            area.draw(&value).map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(named(svg, title))
}

/// A length in pixels.
#[expect(clippy::cast_possible_truncation, reason = "it is between 0 and the width of a chart")]
fn length(pixels: f64) -> i32 {
    if pixels.is_finite() { pixels.clamp(0.0, f64::from(WIDTH)) as i32 } else { 0 }
}

/// First and last place; a chart of nothing has room all the same.
fn range(places: impl Iterator<Item = i64> + Clone) -> (i64, i64) {
    let (first, last) = (places.clone().min().unwrap_or(0), places.max().unwrap_or(0));
    (first, if last > first { last } else { first + 1 })
}

/// A little above the highest value.
fn top(values: impl Iterator<Item = f64>) -> f64 {
    let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.08 } else { 1.0 }
}

/// A number for an axis.
fn short(value: f64) -> String {
    for (size, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value.abs() >= 10.0 * size {
            return format!("{} {letter}", exact(value / size));
        }
    }
    exact(value)
}

/// A number with as many places as say something.
fn exact(value: f64) -> String {
    let places = if value.abs() >= 100.0 || value == value.trunc() {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        3
    };
    format!("{value:.places$}")
}

/// Names the drawing for those who do not see it, and lets it shrink to a narrow page.
fn named(svg: String, title: &str) -> String {
    let Some(rest) = svg.strip_prefix("<svg ") else { return svg };
    let Some((attributes, content)) = rest.split_once('>') else { return svg };
    let mut named = String::with_capacity(svg.len() + 200);
    let name = escaped(title);
    let _ =
        write!(named, "<svg role=\"img\" aria-label=\"{name}\" {attributes}><title>{name}</title>{content}");
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(count: usize) -> Vec<Series> {
        (0..count)
            .map(|index| Series {
                name: format!("<meter {index}> & more"),
                points: (0..10_u8).map(|at| (20_000 + i64::from(at), f64::from(at) * 1.5)).collect(),
            })
            .collect()
    }

    #[test]
    fn lines_differ_without_colour() {
        let svg = lines("units by <day>", Across::Days, "kWh", &series(6)).unwrap();
        assert!(svg.starts_with("<svg role=\"img\" aria-label=\"units by &lt;day&gt;\""));
        assert!(svg.contains("2024-10-0"), "{svg}");
        // The names are text, and no markup comes out of them.
        assert!(svg.contains("&lt;meter 5&gt; &amp; more") && !svg.contains("<meter"));
        // Without its colours the drawing shows six different ways to draw the same points.
        let one = |index: usize| {
            let all = series(index + 1);
            let mut own: Vec<Series> = (0..index).map(|_| Series::default()).collect();
            own.push(all[index].clone());
            let mut drawn = lines("t", Across::Days, "kWh", &own).unwrap();
            for RGBColor(r, g, b) in COLOURS {
                drawn = drawn.replace(&format!("#{r:02X}{g:02X}{b:02X}"), "#000000");
            }
            let count = |part: &str| drawn.matches(part).count();
            (count("<polyline"), count("<circle"), count("<polygon"), count("<line"), count("<rect"))
        };
        let kinds: std::collections::BTreeSet<_> = (0..6).map(one).collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
    }

    #[test]
    fn charts_of_nothing_and_of_one_are_drawn() {
        for points in [vec![], vec![(20_000, 5.0)], vec![(20_000, 0.0), (20_400, f64::NAN)]] {
            assert!(columns("t", Across::Days, "", &points).unwrap().contains("</svg>"));
            let one = Series { name: "one".to_owned(), points };
            assert!(lines("t", Across::Months, "", &[one]).unwrap().contains("</svg>"));
        }
        assert!(bars("t", &[]).unwrap().contains("</svg>"));
        let one = Bar { name: "47500150231".to_owned(), value: 1234.5 };
        assert_eq!(
            bars("t", std::slice::from_ref(&one)).unwrap().matches("<rect").count(),
            2,
            "ground and bar"
        );
        let svg = bars("t", &[one.clone(), Bar { name: "other".to_owned(), value: 0.25 }]).unwrap();
        assert!(svg.contains("47500150231") && svg.contains("1234") && svg.contains("0.250"), "{svg}");
        assert!(columns("t", Across::Hours, "", &[(13, 2.0)]).unwrap().contains(":00"));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.250"),
            (12.5, "12.5"),
            (1500.0, "1500"),
            (25_000.0, "25 k"),
            (12_500_000.0, "12.5 M"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
