//! The words that utilities' gateways put before and behind values, folded: English, French,
//! Portuguese, Spanish, Swahili, and what a profile adds.

use super::lexeme::{Kind, Lexeme};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The meter's number.
    Meter,
    /// The token's digits.
    Token,
    /// What the token transfers.
    Units,
    /// What was paid.
    Amount,
    /// When.
    Time,
    /// The text of a message, in a table of messages.
    Message,
    /// Known, and nothing of a token: taxes, receipts, references.
    Other,
}

const METER: &[&str] = &[
    "meter",
    "meters",
    "mtr",
    "meterno",
    "meternumber",
    "metre",
    "drn",
    "pan",
    "counter", // en
    "compteur",
    "cpteur",
    "cpt",
    "police", // fr
    "contador",
    "medidor", // pt, es
    "mita",
    "luku", // sw
];
const TOKEN: &[&str] = &[
    "token",
    "tokens",
    "tkn",
    "tokenno",
    "tokennumber",
    "pin",
    "recharge code",
    "voucher",
    "jeton",
    "code de recharge",
    "code recharge",
    "code",
    "recharge", // fr
    "codigo",
    "codigo de recarga",
    "recarga",
    "ficha",
    "senha", // pt, es
    "tokeni",
    "tokini",
    "umeme tokeni", // sw
];
const UNITS: &[&str] = &[
    "units",
    "unit",
    "kwh",
    "kwhs",
    "energy",
    "qty",
    "quantity",
    "volume",
    "kl",
    "m3",
    "unites",
    "unite",
    "energie",
    "quantite", // fr
    "unidades",
    "unidade",
    "energia",
    "quantidade",
    "cantidad", // pt, es
    "uniti",
    "umeme",
    "vitengo",
    "maji", // sw
];
const AMOUNT: &[&str] = &[
    "amount",
    "amt",
    "amount paid",
    "amountpaid",
    "paid",
    "total",
    "total amount",
    "totalamount",
    "total paid",
    "value",
    "tendered",
    "amount tendered",
    "montant",
    "montant paye",
    "somme",
    "prix", // fr
    "valor",
    "valor pago",
    "montante",
    "importe",
    "monto",
    "pago", // pt, es
    "kiasi",
    "malipo", // sw
];
const TIME: &[&str] = &[
    "date",
    "time",
    "datetime",
    "timestamp",
    "on",
    "received",
    "sent",
    "heure",
    "le", // fr
    "data",
    "hora",
    "fecha", // pt, es
    "tarehe",
    "muda",
    "saa", // sw
];
const MESSAGE: &[&str] =
    &["message", "body", "text", "sms", "content", "mensagem", "texto", "mensaje", "ujumbe", "contenu"];
const OTHER: &[&str] = &[
    "tknamt",
    "tokenamt",
    "token amt",
    "token amount",
    "token value",
    "tokenamount",
    "cost",
    "cost of units",
    "energy cost",
    "energy charge",
    "energy amount",
    "units cost",
    "unit cost",
    "unit price",
    "price per unit",
    "price",
    "net",
    "net amount",
    "vat",
    "tax",
    "taxes",
    "levy",
    "levies",
    "charges",
    "charge",
    "other charges",
    "othercharges",
    "service charge",
    "service fee",
    "fee",
    "fees",
    "fixed charge",
    "debt",
    "debt recovered",
    "debt amount",
    "arrears",
    "balance",
    "outstanding",
    "tariff",
    "tariff index",
    "rate",
    "index",
    "receipt",
    "receipt no",
    "rct",
    "ref",
    "reference",
    "transaction",
    "transaction id",
    "trans",
    "txn",
    "customer",
    "customer id",
    "account",
    "account no",
    "acc",
    "acct",
    "phone",
    "msisdn",
    "mobile",
    "sgc",
    "supply group",
    "krn",
    "key revision",
    "ti",
    "till",
    "operator",
    "vendor",
    "address",
    "name",
    "serial",
    "forex",
    "erc",
    "epra",
    "rep",
    "ewura",
    "rea",
    "inflation",
    "meter make",
    "meter type",
    "meter reading",
    "tva",
    "taxe",
    "frais",
    "redevance",
    "solde",
    "dette",
    "tarif",
    "prix unitaire",
    "recu",
    "facture",
    "client",
    "abonne",
    "telephone",
    "nom", // fr
    "iva",
    "taxa",
    "taxas",
    "saldo",
    "divida",
    "tarifa",
    "recibo",
    "referencia",
    "cliente",
    "preco",
    "preco unitario",
    "telefone",
    "nome",
    "lixo",
    "radio", // pt, es
    "kodi",
    "deni",
    "salio",
    "risiti",
    "mteja",
    "simu",
    "jina",
    "kumbukumbu",
    "bei", // sw
];

/// Words between a label and its value.
const BETWEEN: &[&str] = &[
    "no",
    "nr",
    "num",
    "number",
    "numero",
    "nbr",
    "id",
    "is",
    "of",
    "in",
    "sts",
    "est",
    "du",
    "de",
    "do",
    "da",
    "des",
    "a",
    "e",
    "es",
    "ya",
    "ni",
    "namba",
    "code",
    "codigo",
    "credit",
    "bought",
    "purchased",
    "value",
];

/// Months by their first letters, in any of the languages.
const MONTHS: [&[&str]; 12] = [
    &["jan", "ene"],
    &["feb", "fev"],
    &["mar", "mac"],
    &["apr", "avr", "abr"],
    &["may", "mai", "mei"],
    &["jun", "juin"],
    &["jul", "juil"],
    &["aug", "aou", "ago"],
    &["sep", "set"],
    &["oct", "out", "okt"],
    &["nov"],
    &["dec", "dez", "dic", "des"],
];

/// Words for currencies, and the code of each; where several countries say the same, the word.
const CURRENCIES: &[(&str, &str)] = &[
    ("zar", "ZAR"),
    ("rand", "ZAR"),
    ("kes", "KES"),
    ("ksh", "KES"),
    ("kshs", "KES"),
    ("tzs", "TZS"),
    ("tsh", "TZS"),
    ("tshs", "TZS"),
    ("ugx", "UGX"),
    ("ush", "UGX"),
    ("ngn", "NGN"),
    ("naira", "NGN"),
    ("ghs", "GHS"),
    ("ghc", "GHS"),
    ("xof", "XOF"),
    ("xaf", "XAF"),
    ("fcfa", "FCFA"),
    ("cfa", "FCFA"),
    ("mzn", "MZN"),
    ("mt", "MZN"),
    ("mtn", "MZN"),
    ("meticais", "MZN"),
    ("aoa", "AOA"),
    ("kz", "AOA"),
    ("kwanza", "AOA"),
    ("kwanzas", "AOA"),
    ("rwf", "RWF"),
    ("frw", "RWF"),
    ("bif", "BIF"),
    ("fbu", "BIF"),
    ("cdf", "CDF"),
    ("fc", "CDF"),
    ("zmw", "ZMW"),
    ("mwk", "MWK"),
    ("mk", "MWK"),
    ("bwp", "BWP"),
    ("nad", "NAD"),
    ("szl", "SZL"),
    ("lsl", "LSL"),
    ("etb", "ETB"),
    ("birr", "ETB"),
    ("usd", "USD"),
    ("zwl", "ZWL"),
    ("zig", "ZWG"),
    ("eur", "EUR"),
    ("gbp", "GBP"),
    ("inr", "INR"),
    ("bdt", "BDT"),
    ("tk", "BDT"),
    ("npr", "NPR"),
    ("lkr", "LKR"),
    ("sll", "SLL"),
    ("sle", "SLE"),
    ("lrd", "LRD"),
    ("gmd", "GMD"),
    ("mga", "MGA"),
    ("ar", "MGA"),
    ("mur", "MUR"),
    ("ssp", "SSP"),
    ("sdg", "SDG"),
];
/// Signs that stand for a currency.
const SIGNS: &[(char, &str)] = &[
    ('₦', "NGN"),
    ('€', "EUR"),
    ('£', "GBP"),
    ('₹', "INR"),
    ('৳', "BDT"),
    ('₵', "GHS"),
    ('¢', "GHS"),
    ('$', "$"),
];
/// Letters that do so when they touch the number.
const TOUCHING: &[(&str, &str)] =
    &[("r", "ZAR"), ("n", "NGN"), ("k", "ZMW"), ("f", "FCFA"), ("p", "BWP"), ("e", "SZL")];

/// All labels, with those of a profile.
#[derive(Debug)]
pub(super) struct Words {
    /// The words of each, long ones first.
    labels: Vec<(Vec<String>, Field)>,
}

impl Words {
    pub(super) fn new<'a>(own: impl IntoIterator<Item = (Field, &'a [String])>) -> Self {
        let split = |text: &str| text.split([' ', '_']).map(str::to_owned).collect::<Vec<_>>();
        let mut labels: Vec<(Vec<String>, Field)> = Vec::new();
        for (field, texts) in own {
            let folded = texts.iter().map(|text| split(&super::fold::folded(text)));
            labels.extend(folded.map(|words| (words, field)));
        }
        let known = [
            (Field::Meter, METER),
            (Field::Token, TOKEN),
            (Field::Units, UNITS),
            (Field::Amount, AMOUNT),
            (Field::Time, TIME),
            (Field::Message, MESSAGE),
            (Field::Other, OTHER),
        ];
        for (field, texts) in known {
            labels.extend(texts.iter().map(|text| (split(text), field)));
        }
        // Stable: a profile's own words go before ours of the same length.
        labels.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
        Self { labels }
    }

    /// The label with which the lexemes begin, and how many of them it has.
    pub(super) fn label(&self, lexemes: &[Lexeme<'_>]) -> Option<(Field, usize)> {
        self.labels.iter().find_map(|(words, field)| Some((*field, length(words, lexemes)?)))
    }
}

/// How many lexemes the words take; words may be joined by `_` or `-`.
fn length(words: &[String], lexemes: &[Lexeme<'_>]) -> Option<usize> {
    let mut at = 0;
    for (index, word) in words.iter().enumerate() {
        if index > 0 && lexemes.get(at).is_some_and(|lexeme| lexeme.is_mark(&['_', '-'])) {
            at += 1;
        }
        // `m3` is a word and a digit.
        if let Some(letters) = word.strip_suffix('3')
            && lexemes.get(at)?.text == letters
            && lexemes.get(at + 1)?.text == "3"
        {
            at += 2;
            continue;
        }
        if lexemes.get(at)?.kind != Kind::Word || lexemes[at].text != word {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// Where the value behind a label begins.
pub(super) fn behind_label(lexemes: &[Lexeme<'_>], from: usize) -> usize {
    let mut at = from;
    while let Some(lexeme) = lexemes.get(at) {
        let is_sign = lexeme
            .is_mark(&[':', '=', '#', '.', '-', '°', 'º', '_', '*', '(', ')', '"', '\'', '/', '>', '№']);
        let is_numero =
            lexeme.text == "n" && lexemes.get(at + 1).is_some_and(|next| next.is_mark(&['°', 'º', '.']));
        if !(is_sign || is_numero || lexeme.is_word(BETWEEN)) {
            break;
        }
        at += 1;
    }
    at
}

/// The month that a word names, from 1.
pub(super) fn month(word: &str) -> Option<i8> {
    if word.len() < 3 {
        return None;
    }
    // `mars` and `march`, `mai` and `maio`: the first letters are enough, but no word of ours may
    // begin so: `marked`, `decoder`, `november`.
    const LONGEST: usize = 10;
    let found = MONTHS.iter().position(|names| names.iter().any(|name| word.starts_with(name)))?;
    let is_whole = word.len() == 3 || (word.len() <= LONGEST && is_month_name(word));
    is_whole.then(|| i8::try_from(found + 1).unwrap_or(0))
}

fn is_month_name(word: &str) -> bool {
    const NAMES: &str = " january february march april june july august sept september sept october november december \
        janvier fevrier mars avril juin juillet juil aout septembre octobre novembre decembre \
        janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro \
        enero febrero marzo mayo junio julio septiembre octubre noviembre diciembre \
        januari februari machi aprili juni julai agosti septemba oktoba novemba desemba ";
    NAMES.contains(&format!(" {word} "))
}

/// The currency that the lexeme at `at` names, where a number stands beside it: before it if
/// `is_before`.
pub(super) fn currency(lexemes: &[Lexeme<'_>], at: usize, is_before: bool) -> Option<&'static str> {
    let lexeme = lexemes.get(at)?;
    if lexeme.kind == Kind::Mark {
        let sign = lexeme.text.chars().next()?;
        return SIGNS.iter().find(|(known, _)| *known == sign).map(|(_, code)| *code);
    }
    let named = CURRENCIES.iter().find(|(word, _)| *word == lexeme.text).map(|(_, code)| *code);
    named.or_else(|| {
        let touches =
            if is_before { lexemes.get(at + 1).is_some_and(|next| !next.blank) } else { !lexeme.blank };
        TOUCHING.iter().find(|(word, _)| touches && *word == lexeme.text).map(|(_, code)| *code)
    })
}

/// The unit that the lexeme at `at` names, and how many lexemes it has.
pub(super) fn unit(lexemes: &[Lexeme<'_>], at: usize) -> Option<(&'static str, usize)> {
    let lexeme = lexemes.get(at)?;
    let next = lexemes.get(at + 1);
    Some(match lexeme.text {
        "kwh" | "kwhs" | "kws" => ("kWh", 1),
        "kw" if next.is_some_and(|next| next.text == "h") => ("kWh", 2),
        "kl" => ("kl", 1),
        "m" if next.is_some_and(|next| !next.blank && matches!(next.text, "3" | "³")) => ("m3", 2),
        "litres" | "liters" | "litros" | "lita" | "litre" | "liter" => ("l", 1),
        "units" | "unit" | "unites" | "unite" | "unidades" | "uniti" => ("", 1),
        _ => return None,
    })
}
