//! Names, joins and subqueries with PostgreSQL 15's answers: every expected value and SQLSTATE is PostgreSQL's.

mod support;

use support::Runner;

async fn tables() -> Runner {
    let db = Runner::new(2);
    db.script(&[
        ("create table ra (id int, x text)", "ok"),
        ("insert into ra values (1, 'a')", "inserted 1 updated 0 deleted 0 ignored 0"),
        ("create table rb (id int, y text)", "ok"),
        ("insert into rb values (1, 'b'), (2, 'c')", "inserted 2 updated 0 deleted 0 ignored 0"),
        ("create table rc (id int, y text, w int)", "ok"),
        (
            "insert into rc values (2, 'c', 5), (3, 'd', null), (null, 'e', 7)",
            "inserted 3 updated 0 deleted 0 ignored 0",
        ),
        ("create table k (id int, g text, v int, primary key (id))", "ok"),
        (
            "insert into k values (1, 'x', 5), (2, 'x', null), (3, 'y', 7), (4, null, 1)",
            "inserted 4 updated 0 deleted 0 ignored 0",
        ),
        ("create table o (oid int not null, kid int, amt int)", "ok"),
        (
            "insert into o values (10, 1, 100), (11, 1, 50), (12, 2, null), (13, 3, 70), (14, null, 5), (15, 9, 1)",
            "inserted 6 updated 0 deleted 0 ignored 0",
        ),
    ])
    .await;
    db
}

#[tokio::test]
async fn using_merges_the_columns_of_outer_joins() {
    tables()
        .await
        .script(&[
            ("select sum(id) from ra right join rb using (id)", "3"),
            ("select * from ra full join rb using (id) order by id", "1|a|b ; 2|null|c"),
            ("select sum(id) from ra natural right join rb", "3"),
            (
                "select * from rb natural full join rc order by id, y",
                "1|b|null ; 2|c|5 ; 3|d|null ; null|e|7",
            ),
            ("select id from ra full join rb using (id) where id > 1", "2"),
            ("select id, ra.id, rb.id from ra right join rb using (id) order by rb.id", "1|1|1 ; 2|null|2"),
            (
                "select id, x, rb.y, w from ra full join rb using (id) full join rc using (id) order by id, w",
                "1|a|b|null ; 2|null|c|5 ; 3|null|null|null ; null|null|null|7",
            ),
            ("select x.* from (ra join rb using (id)) as x", "1|a|b"),
            ("select id from ra join rb using (id) where id > 0", "1"),
            ("select * from rb join rc using (nope)", "!42703 column \"nope\" specified in USING clause"),
        ])
        .await;
}

#[tokio::test]
async fn names_are_found_as_in_postgresql() {
    tables()
        .await
        .script(&[
            ("select y from rb join rc using (id)", "!42702 column reference \"y\" is ambiguous"),
            ("select nope from rb", "!42703 column \"nope\" does not exist"),
            ("select rb.nope from rb", "!42703 column rb.nope does not exist"),
            ("select q.id from rb", "!42P01 missing FROM-clause entry for table \"q\""),
            ("select rb.id from rb s", "!42P01 missing FROM-clause entry"),
            ("select * from nope", "!42P01 relation \"nope\" does not exist"),
            ("select * from ra, ra", "!42712 table name \"ra\" specified more than once"),
            ("select o.id, o.* from rb o join rb p on o.id = p.id order by o.id", "1|1|b ; 2|2|c"),
            ("select a from (select 1 as a, 2 as a) s", "!42702 ambiguous"),
            ("select * from (select 1 as a, 2 as a) s", "1|2"),
            ("select -id as id from rb order by id", "-1 ; -2"),
            ("select -id as id from rb order by -id", "-1 ; -2"),
            ("select id, -id as id from rb order by id", "!42702 ORDER BY \"id\" is ambiguous"),
            ("select count(*), count(*), sum(id), sum(id) from rb", "2|2|3|3"),
            ("with q(p) as (select id from rb) select max(p) from q", "2"),
            ("with q as (select 1 as x) select (with q as (select 2 as x) select x from q), x from q", "2|1"),
            ("with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select sum(i) from n", "15"),
            ("select * from generate_series(1, 3) g(x) where x > 1 order by x", "2 ; 3"),
        ])
        .await;
}

#[tokio::test]
async fn what_is_grouped_and_ordered() {
    tables()
        .await
        .script(&[
            ("select g, round(avg(v), 1) > 5 from k group by g order by 2, 1", "null|f ; x|f ; y|t"),
            ("select k.id, k.g, count(o.oid) from k left join o on o.kid = k.id group by k.id order by k.id", "1|x|2 ; 2|x|1 ; 3|y|1 ; 4|null|0"),
            ("select g from k group by v", "!42803 column \"k.g\" must appear in the GROUP BY clause"),
            ("select g, sum(v) from k", "!42803 must appear in the GROUP BY clause"),
            ("select g from k where count(*) > 1 group by g", "!42803 aggregate functions are not allowed in WHERE"),
            ("select 1 from k having true", "1"),
            ("select 1 from k group by ()", "1"),
            ("select distinct g from k order by id", "!42P10 for SELECT DISTINCT"),
            ("select * from ra order by 3", "!42P10 ORDER BY position 3 is not in select list"),
            ("select distinct on (g) g, id from k order by g, id desc", "null|4 ; x|2 ; y|3"),
            ("select id from k order by id offset 2 rows fetch next row only", "3"),
            ("select id from k order by g fetch first 2 rows with ties", "!0A000 WITH TIES"),
            ("select sum(v) over w2 from k window w as (partition by g), w2 as (w order by id) order by id", "1 ; 5 ; 5 ; 7"),
            ("(select id from k union all select id from k) except all select id from k order by id", "1 ; 2 ; 3 ; 4"),
        ])
        .await;
}

#[tokio::test]
async fn in_any_and_all_know_null() {
    tables()
        .await
        .script(&[
            ("select count(*) from k where id not in (select kid from o) or id > 1000", "0"),
            ("select count(*) from k where (4 in (select kid from o)) is null", "4"),
            (
                "select id, v in (select kid from o where o.kid = k.id) from k order by id",
                "1|f ; 2|null ; 3|f ; 4|f",
            ),
            ("select id from k where id not in (select kid from o where amt > k.v)", "2"),
            ("select id from k where v > any (select v from k) order by id", "1 ; 3"),
            ("select id from k where v >= all (select v from k where v is not null)", "3"),
            (
                "select id, v > all (select amt from o where o.kid = k.id) from k order by id",
                "1|f ; 2|null ; 3|f ; 4|t",
            ),
            ("select id from k where v not in (5) or v not in (7, 8) order by id", "1 ; 3 ; 4"),
            ("select id from k where not (v in (5, 6) and v in (7, 8)) order by id", "1 ; 3 ; 4"),
            ("select id from k where not ((v = 5 or v = 6) and (v = 7 or v = 8)) order by id", "1 ; 3 ; 4"),
            ("select id from k where v in (5, 7) and v not in (1, null)", ""),
            ("select (1, null) = (1, 2), (1, null) = (2, null), (1, null) < (2, 1)", "null|f|t"),
            ("select (3, 2) in ((1, 2), (3, null)), row(1, null) is null", "null|f"),
        ])
        .await;
}

#[tokio::test]
async fn subqueries_stand_anywhere() {
    tables()
        .await
        .script(&[
            ("select (select oid from o where oid = 99) is null", "t"),
            ("select coalesce((select oid from o where oid = 99), 7)", "7"),
            ("select id, (select oid from o where o.oid = k.id) is null from k where id = 1", "1|t"),
            ("select id, exists (select 1 from o where o.kid = k.id) from k order by id", "1|t ; 2|t ; 3|t ; 4|f"),
            ("select id, (select count(*) from o where o.kid >= k.id) from k order by id", "1|5 ; 2|3 ; 3|2 ; 4|1"),
            ("select id, (select amt from o where o.kid = k.id order by amt limit 1) from k order by id", "1|50 ; 2|null ; 3|70 ; 4|null"),
            ("select id, (select amt from o where o.kid = k.id) from k", "!21000 more than one row returned by a subquery"),
            ("select (select kid from o)", "!21000 more than one row returned by a subquery"),
            ("select id from k order by (select count(*) from o where o.kid = k.id) desc, id", "1 ; 2 ; 3 ; 4"),
            ("select sum((select count(*) from o where o.kid = k.id)) from k", "4"),
            ("select k.id, s.m from k left join lateral (select max(amt) m from o where o.kid >= k.id) s on true order by 1", "1|100 ; 2|70 ; 3|70 ; 4|1"),
            ("select k.id, s.x from k, lateral (values (k.id), (k.v)) s(x) where k.id = 3 order by 2", "3|3 ; 3|7"),
            // Also for a table that is always empty.
            ("select count(*), max(tgname) from pg_catalog.pg_trigger where tgisinternal", "0|null"),
            ("select tgname from pg_trigger", ""),
            ("create table sums (a int)", "ok"),
            ("insert into sums values ((select max(id) from k)), (7)", "inserted 2 updated 0 deleted 0 ignored 0"),
            ("select a from sums order by a", "4 ; 7"),
        ])
        .await;
}
