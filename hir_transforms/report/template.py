"""The template of the report's page."""

TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Selection of {{ report.counts.selected|number }} documents</title>
<style>
:root { color-scheme: light dark; --page: #ffffff; --text: #1d1d1f; --soft: #5f6368; --line: #d9dce0; --box: #f5f6f8;
  --all: #9aa5b1; --chosen: #0b6bcb; --mark: #c0392b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181c; --text: #e6e7e9; --soft: #a0a6ad; --line: #343a41; --box: #1f2329;
    --all: #5d6874; --chosen: #5aa9f5; --mark: #ff7b6b; }
}
* { box-sizing: border-box; }
body { print-color-adjust: exact; margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 3rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0.6rem 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 0.6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 0.4rem; }
p, figcaption { color: var(--soft); margin: 0.3rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 0.6rem; margin: 1rem 0; }
.tiles div, .document, pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; }
.tiles div { padding: 0.5rem 0.7rem; } .tiles b { display: block; font-size: 1.25rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.8rem 0.25rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
.numbers td + td, .scale span:first-child, .scale span:last-child { white-space: nowrap; }
.clusters th { white-space: normal; } .words { min-width: 9rem; }
pre { padding: 0.6rem 0.8rem; white-space: pre-wrap; font-size: 0.85rem; margin: 0.4rem 0; }
figure { margin: 1rem 0; } svg { display: block; width: 100%; height: auto; }
.all { fill: var(--all); } .chosen { fill: var(--chosen); fill-opacity: 0.65; } .axis { stroke: var(--line); }
.cut { stroke: var(--mark); stroke-width: 2; }
.curve { fill: none; stroke: var(--chosen); stroke-width: 2; } .dot { fill: var(--chosen); }
.scale { display: flex; justify-content: space-between; gap: 0.6rem; color: var(--soft); font-size: 0.85rem; }
.key { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px; }
.document { padding: 0.5rem 0.7rem; margin: 0.5rem 0; break-inside: avoid; }
.document div { color: var(--soft); font-size: 0.8rem; }
.ngram { display: inline-block; padding: 0 0.4em; margin: 0.1em 0; border: 1px solid var(--line); border-radius: 4px; }
.text { display: block; white-space: pre-wrap; unicode-bidi: isolate; overflow: hidden; max-height: 12rem; }
@media print { body { max-width: none; padding: 0; } .text { max-height: none; } }
</style>
</head>
<body>
<h1>{{ report.counts.selected|number }} of {{ report.counts.read|number }} documents selected</h1>
<p>{{ report.counts.selected_tokens|number }} tokens. {% if top_k %}The documents of the largest weights were taken.
{% else %}Documents were sampled without replacement: the larger its weight, the likelier a document is.{% endif %}</p>

<h2>What was done</h2>
<div class="tiles">
{% for name, count, share in counts %}
<div><b>{{ count|number }}</b>{{ name|replace("_", " ") }}{% if share and name != "selected_tokens" %} <small>{{ share }}</small>{% endif %}</div>
{% endfor %}
</div>
<p>To do it again:</p>
<pre>{{ report.commands.select|plain }}</pre>

<h2>Is it good</h2>
{% if quality.rows %}
<p>Measured by the n-grams of {{ report.quality.documents|number }} of the {{ report.counts.selected|number }} selected
documents{% if report.quality.documents < report.counts.selected %}, drawn at random{% endif %}, and of as many of each other
selection, against {{ report.quality.target_documents|number }} documents of the target that it was made with.</p>
<div class="wide"><table class="numbers">
<tr><th>selection of</th>{% for heading in quality.headings %}<th>{{ heading }}</th>{% endfor %}</tr>
{% for name, values in quality.rows %}
<tr><td>{{ name }}</td>{% for value in values %}<td>{{ value|number if value is not none }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<p>KL reduction: nats nearer to the target than a random selection of as many of the eligible documents, by DSIR's
formula; more is better. KL: divergence of the target from the selection. JS: Jensen-Shannon distance, 0 to 1. AUC: how
well a document of the target can be told from a selected one, 0.5 where it cannot.{% if "cosine" in quality.headings %}
Cosine: of embeddings of the selection and of the target, the mean of all pairs. Clusters: Jensen-Shannon distance of the
shares that k-means' clusters of embeddings have.{% endif %}{% if labels and report.labels.wanted is not none %} Precision: the share of documents with the {{ report.labels.field|plain }} <bdi>{{ report.labels.wanted|plain }}</bdi>.{% endif %}</p>
{% else %}
<p>{{ report.quality.unknown }}</p>
{% if labels and report.labels.wanted is not none %}
<p>Precision: {{ report.labels.sets.selected.precision|number }} of {{ report.labels.sets.selected.documents|number }} selected
documents have the {{ report.labels.field|plain }} <bdi>{{ report.labels.wanted|plain }}</bdi>, of random ones
{{ report.labels.sets.random.precision|number }}.</p>
{% endif %}
{% endif %}
<div class="tiles">
{% for size in report.quality.effective_sample_size[:10] %}
<div><b>{{ size|number if size is not none else "none" }}</b>effective sample size{{ " of target %d"|format(loop.index) if loop.length > 1 }}
<small>of the weights of {{ report.counts.eligible|number }} documents</small></div>
{% endfor %}
{% if report.quality.copies %}
<div><b>{{ report.quality.copies.duplicates|number }}</b>duplicates in the selection
<small>{{ "%.2f%%"|format(100 * report.quality.copies.share) }}{% if report.quality.copies.counted < report.counts.selected %}, by {{ report.quality.copies.counted|number }} documents{% endif %}</small></div>
{% endif %}
</div>
<p>To measure it by all of its documents and of the target's, with others of the target's kind that were held out
(<code>--heldout</code>), or beside another selection:</p>
<pre>{{ report.commands.evaluate|plain }}</pre>

<h2>Where the line is</h2>
<p>Of {{ report.counts.eligible|number }} eligible documents <span class="key" style="background: var(--all)"></span> those
that are selected <span class="key" style="background: var(--chosen)"></span>. The bars of each colour are scaled to the
highest of that colour.{% if top_k %} The line is the smallest weight that is selected.{% else %} A document is selected
where its weight and the noise that is drawn for it come to more than
{% for threshold in report.thresholds %}{{ threshold.key|number }}{{ ", " if not loop.last }}{% endfor %}.{% endif %}</p>
{% for chart in charts %}
<figure>
<figcaption>{{ chart.name }}</figcaption>
<svg viewBox="0 0 600 151" role="img" aria-label="Histogram of {{ chart.name }}">
{% for bar in chart.bars %}
<g><title>{{ bar.title }}</title>
<rect class="all" x="{{ bar.x }}" y="{{ 150 - bar.heights[0] }}" width="{{ bar.width }}" height="{{ bar.heights[0] }}"/>
<rect class="chosen" x="{{ bar.x }}" y="{{ 150 - bar.heights[1] }}" width="{{ bar.width }}" height="{{ bar.heights[1] }}"/></g>
{% endfor %}
<line class="axis" x1="0" x2="600" y1="150" y2="150"/>
{% if chart.line is not none %}<line class="cut" x1="{{ chart.line }}" x2="{{ chart.line }}" y1="0" y2="150"/>{% endif %}

</svg>
<div class="scale"><span>{{ chart.low|number }}</span><span>{{ chart.unit }}{% if chart.at is not none %}, line at
{{ chart.at|number }}{% endif %}</span><span>{{ chart.high|number }}</span></div>
<p>The first and the last bar have what lies beyond. Highest bars: {{ chart.most[0]|number }} eligible, {{ chart.most[1]|number }} selected.</p>
</figure>
{% endfor %}

{% if what_if %}
<h3>What if</h3>
<p>What would be selected with the line elsewhere, and how near to the target that would be.</p>
{% if what_if.points %}
<figure>
<svg viewBox="-6 -6 612 163" role="img" aria-label="KL reduction by the number of documents selected">
<line class="axis" x1="0" x2="600" y1="150" y2="150"/>
<line class="cut" x1="{{ what_if.now }}" x2="{{ what_if.now }}" y1="0" y2="150"/>
<polyline class="curve" points="{% for x, y, _ in what_if.points %}{{ x }},{{ y }} {% endfor %}"/>
{% for x, y, title in what_if.points %}
<circle class="dot" cx="{{ x }}" cy="{{ y }}" r="4"><title>{{ title }}</title></circle>
{% endfor %}
</svg>
<div class="scale"><span>{{ what_if.least|number }}</span><span>documents selected, each mark double the one before; line: this
selection</span><span>{{ what_if.most|number }}</span></div>
<figcaption>KL reduction, from {{ what_if.low|number }} to {{ what_if.high|number }}</figcaption>
</figure>
{% endif %}
<div class="wide"><table class="numbers">
<tr><th>documents</th><th>least {{ "weight" if top_k else "weight and noise" }}</th><th>KL reduction</th><th>measured by</th></tr>
{% for one in report.what_if %}
<tr><td>{{ one.documents|number }}</td><td>{{ one.key|number }}</td>
<td>{{ one.kl_reduction|number if one.kl_reduction is defined }}</td>
<td>{{ one.measured_documents|number if one.measured_documents is defined }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Documents</h2>
<p>The beginnings of their texts.</p>
{% for name, documents in kinds %}
<h3>{{ name }}</h3>
{% for document in documents %}
<div class="document"><bdi class="text">{{ document.text|plain }}</bdi>
<div><bdi>{{ document.file|plain }}</bdi>, byte {{ document.offset|number }}: weight {{ document.weight|number }}
{%- if document.ngram is defined and document.gmm is defined %} (n-grams {{ document.ngram|number }}, embedding
{{ document.gmm|number }}){% endif %}, {{ document.tokens|number }} tokens</div>
{% if document.deciding %}
<div>Decided by {% for name, share in document.deciding %}<span class="ngram"><bdi>{{ name|plain }}</bdi> {{ share|signed }}</span> {% endfor %}</div>
{% endif %}
</div>
{% else %}
<p>None.</p>
{% endfor %}
{% endfor %}

<h2>What it is</h2>
{% if labels %}
<h3>{{ report.labels.field|plain }}</h3>
<p>Shares of samples, of so many documents.</p>
<div class="wide"><table class="numbers">
<tr><th>label</th>{% for heading in labels.headings %}<th>{{ heading }}</th>{% endfor %}</tr>
{% for label, shares in labels.rows %}
<tr><td><bdi>{{ label|plain }}</bdi></td>{% for share in shares %}<td>{{ share }}</td>{% endfor %}</tr>
{% endfor %}
{% if labels.missing %}
<tr><td>none</td>{% for share in labels.missing %}<td>{{ share }}</td>{% endfor %}</tr>
{% endif %}
</table></div>
{% endif %}
{% if report.ngrams %}
<h3>N-grams</h3>
<p>Those that add most to the log weights of {{ report.ngrams.documents|number }} documents, selected and random ones, and those
that take most, all together.</p>
<p>Add: {% for name, share in report.ngrams.raising %}<span class="ngram"><bdi>{{ name|plain }}</bdi> {{ share|signed }}</span> {% endfor %}</p>
<p>Take: {% for name, share in report.ngrams.lowering %}<span class="ngram"><bdi>{{ name|plain }}</bdi> {{ share|signed }}</span> {% endfor %}</p>
{% endif %}
{% if clusters %}
<h3>Clusters of embeddings</h3>
<p>The shares of the clusters that k-means finds in the embeddings of so many documents of each. Words: those that a
share p of the cluster's documents has and a smaller share q of all, by p log(p / q), which leaves out what is common in all.</p>
<div class="wide"><table class="numbers clusters">
<tr><th>words</th>{% for heading in clusters.headings %}<th>{{ heading }}</th>{% endfor %}</tr>
{% for words, shares in clusters.rows %}
<tr><td class="words">{% for word in words %}<bdi>{{ word|plain }}</bdi>{{ ", " if not loop.last }}{% endfor %}</td>{% for share in shares %}<td>{{ share }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
<h3>Lengths in tokens</h3>
<div class="wide"><table class="numbers">
<tr><th>quantile</th>{% for name in report.lengths.eligible.quantiles %}<th>{{ name }}</th>{% endfor %}</tr>
{% for name, lengths in report.lengths.items() %}
{% if lengths %}
<tr><td>{{ name }}</td>{% for number in lengths.quantiles.values() %}<td>{{ number|number }}</td>{% endfor %}</tr>
{% endif %}
{% endfor %}
</table></div>

<h2>How it was fitted</h2>
<div class="wide"><table>
<tr><th>stage</th><th>what it counted</th></tr>
{% for stage in report.stages %}
<tr><td>{{ stage.stage }}</td><td>{% if stage.warning is defined %}<b>Warning:</b> {{ stage.warning|plain }} {% endif %}{% for name, value in stage.counts.items() %}{{ name|replace("_", " ") }}
{{ value|number|plain }}{{ "; " if not loop.last }}{% endfor %}</td></tr>
{% endfor %}
</table></div>
{% for name, points, first, last in courses %}
<figure>
<figcaption>{{ name }}: mean log likelihood by iteration</figcaption>
<svg viewBox="-2 -2 604 155" role="img" aria-label="Log likelihood of {{ name }} by iteration">
<polyline class="curve" points="{% for x, y in points %}{{ x }},{{ y }} {% endfor %}"/>
<line class="axis" x1="0" x2="600" y1="150" y2="150"/>
</svg>
<div class="scale"><span>{{ first|number }}</span><span>{{ points|length }} iterations</span><span>{{ last|number }}</span></div>
</figure>
{% endfor %}
{% if trials %}
<h3>Trials</h3>
<p>How much each found of hidden documents of the target among a sample of raw.</p>
<div class="wide"><table>
<tr>{% for heading in trials.headings %}<th>{{ heading|plain }}</th>{% endfor %}</tr>
{% for row in trials.rows %}
<tr>{% for value in row %}<td>{{ value|plain }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
{% if report.thresholds|length > 1 %}
<h3>Targets</h3>
<div class="wide"><table>
<tr><th>target</th><th>share</th><th>asked</th><th>key of the line</th></tr>
{% for threshold in report.thresholds %}
<tr><td>{{ loop.index }}</td><td>{{ threshold.proportion|number }}</td><td>{{ threshold.asked|number }}</td>
<td>{{ threshold.key|number }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Settings and versions</h2>
<div class="wide"><table>
{% for name, value in settings %}
<tr><th>{{ name }}</th><td>{{ value|plain }}</td></tr>
{% endfor %}
{% for name, value in report.versions.items() %}
<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table></div>
</body>
</html>
"""
